"""What a notebook shows and what is written as a page, made of texts that would like to be more than text."""
from dataclasses import asdict

from hostile import HOSTILE
from PIL import Image

from welllog_ocr.compare import compare
from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import write_json, write_jsonl
from welllog_ocr.metrics import METRICS, cer, wer
from welllog_ocr.run.report import report

def picture(row): return Image.new('L', (300, 40), 230)

def make_run(folder, bad=.5, texts=HOSTILE, **settings):
    "A run folder without a training, which has read the texts at three steps"
    (folder/'eval').mkdir(parents=True)
    metrics, texts = [], [t.encode(errors='replace').decode() for t in texts] # half a character cannot stand in a file
    for step, share in ((0, bad), (10, bad/2), (20, bad/3)):
        said = [t if i % 10 >= 10*share else t[::-1] for i, t in enumerate(texts)]
        rows = [dict(id=f'{i} {t[:60]}', loss=None if i == 3 else share*i/9, n_tokens=len(t), cer=cer(t, p), wer=wer(t, p), reference=t, prediction=p, confidence=.9, style=('typed', t[:30])[i == 1], kind='line', group=f'w{i % 9}')
                for i, (t, p) in enumerate(zip(texts, said))]
        write_jsonl(folder/'eval'/f'step-{step:08}.jsonl', rows)
        if step: metrics.append(dict(step=step - 1, split='train', loss=share, samples_per_s=9., elapsed_s=step))
        metrics.append(dict(step=step, split='eval', elapsed_s=step, **{n: m.value(rows) for n, m in METRICS.items()}))
    write_jsonl(folder/'metrics.jsonl', metrics)
    write_json(folder/'run.json', dict(run_id=texts[0], data_fingerprint=texts[1], versions=dict(torch='2', x=texts[2])))
    write_json(folder/'config.json', asdict(TrainingConfig()) | dict(experiment_name=texts[0], data_path=texts[3], **settings))
    write_jsonl(folder/'events.jsonl', [dict(event='start', step=0, total_steps=20, hardware=texts[5], notes=[texts[4]], skipped=[]), dict(event='best', step=20)])
    write_jsonl(folder/'cost.jsonl', [dict(leg=1, seconds=600., usd=.07, rate=.42, source='config')])
    return folder

def run_views(folder, texts=HOSTILE):
    "Name -> (what a notebook shows, the whole page) of a run and of two runs"
    runs = [make_run(folder/name, bad, texts, seed=seed) for name, bad, seed in (('a', .9, 1), ('b', .3, 2))]
    page, both = report(runs[0], picture), compare(runs)
    both.html(folder/'compare.html')
    page.write()
    return dict(report=(page._repr_html_(), (runs[0]/'report.html').read_text()), compare=(both._repr_html_(), (folder/'compare.html').read_text()))

def small_views():
    "Name -> what a notebook shows: the tables of the other chapters"
    from welllog_ocr.data.findings import Example, Finding, Report, VERDICTS, histogram
    from welllog_ocr.preflight import Preflight
    from welllog_ocr.read.export import show_wells
    from welllog_ocr.run.checks import FAILURE, WARNING, Check
    found = [Finding(f'kind{i}', v, t, t, t, 9, tuple(Example(t, t, t, (lambda: picture(None),)) for t in HOSTILE[:3])) for i, (v, t) in enumerate(zip(VERDICTS, HOSTILE))]
    doctor = Report(HOSTILE[0], found, {HOSTILE[1]: (['a', HOSTILE[2]], [[HOSTILE[3], 1]])}, [histogram(HOSTILE[4], range(50))], [('a', 3), ('<', 2)], [HOSTILE[5]])
    asked = Preflight(TrainingConfig())
    asked.checks = [Check('disk', HOSTILE[i], HOSTILE[i + 1], v, HOSTILE[i + 2]) for i, v in enumerate(('ok', WARNING, FAILURE))]
    value = dict(text=HOSTILE[0], value=HOSTILE[1], unit='', confidence=.5, flags=['above_td'], lines=[], how='cell')
    wells = show_wells([dict(file=HOSTILE[6], page=0, text='', confidence=.5, lines=[], record=dict(form='', fields=dict(company=value, well=dict(value, flags=[])), runs=[], other=[]))])
    return dict(doctor=doctor._repr_html_(), preflight=asked._repr_html_(), wells=wells._repr_html_())
