"""Reads settings.ini, so that a name or a requirement stands in one place."""
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {name.removesuffix('_requirements'): cfg[name].split() for name in cfg if name.endswith('_requirements')}

setup(name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
      author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
      long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
      packages=find_packages(include=['welllog_ocr', 'welllog_ocr.*']), package_data={'welllog_ocr': ['*.js', '*.css', '*.txt', '*.json', 'draw/lists/*.txt']}, zip_safe=False,
      python_requires=f'>={cfg["min_python"]}', install_requires=cfg['requirements'].split(), extras_require=extras,
      entry_points={'datasette': ['welllog_ocr = welllog_ocr.read.browse']},
      project_urls=dict(Documentation=f'{cfg["doc_host"]}{cfg["doc_baseurl"]}', Changelog=f'{cfg["git_url"]}/blob/main/CHANGELOG.md',
                        Issues=f'{cfg["git_url"]}/issues'),
      classifiers=['Development Status :: 4 - Beta', 'Environment :: Console', 'Framework :: Jupyter', 'Intended Audience :: Science/Research',
                   'Operating System :: POSIX :: Linux', 'Programming Language :: Python :: 3.11',
                   'Topic :: Scientific/Engineering :: Image Recognition'])
