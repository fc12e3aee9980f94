# /// script
# requires-python = ">=3.11"
# dependencies = ["welllog_ocr[tables]"]
#
# [tool.uv.sources]
# welllog_ocr = { path = "..", editable = true }
# ///
"""Reads scans without an installation, by uv (https://docs.astral.sh/uv), which fetches what is needed and keeps it; no torch among it.

    uv run scripts/read_folder.py scans/ --model headers.onnx --output wells.xlsx

The words are those of `python -m welllog_ocr.predict`.
"""
import runpy

if __name__ == '__main__': runpy.run_module('welllog_ocr.predict', run_name='__main__', alter_sys=True)
