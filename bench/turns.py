"""How often pages are found again after they were turned, and how well small skew is measured.

    python bench/turns.py FOLDER

FOLDER holds upright pages. Each is turned by 0, 90, 180 and 270 degrees, and the turn that sets it upright is looked for; then each is rotated by small angles, and the skew that is measured is compared
with that of the page as it is.
"""
import argparse, statistics, time
from pathlib import Path

from PIL import Image

from welllog_ocr.data.scan import read_image
from welllog_ocr.data.orient import find_pose

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', type=Path)
    args = p.parse_args()
    pages = [read_image(f).convert('L') for f in sorted(args.folder.iterdir()) if f.suffix.lower() in ('.png', '.tif', '.tiff', '.jpg', '.jpeg', '.webp')]
    hits, off, seconds = [0]*4, [], 0.
    for img in pages:
        for k in range(4):
            turned, start = img.rotate(-90*k, expand=True), time.perf_counter()
            pose = find_pose(turned)
            seconds += time.perf_counter() - start
            hits[k] += pose.turns == k
            if k == 0: base = pose.skew
        off += [abs(find_pose(img.rotate(-a, Image.Resampling.BICUBIC, expand=True, fillcolor=255)).skew - base - a) for a in (-3, 1.5) if abs(base + a) < 7]
    print(f'{len(pages)} pages; found again after 0, 90, 180, 270 degrees: {", ".join(map(str, hits))}; {seconds/4/max(1, len(pages)):.2f} s a page')
    print(f'skew: off by {statistics.median(off):.2f} degrees in the middle, {sorted(off)[int(.9*len(off))]:.2f} for nine of ten, {max(off):.2f} at most')

if __name__ == '__main__': main()
