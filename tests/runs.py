"""Tiny trainings that take a second, what is left of them, and the script that kills them: python tests/runs.py KILLS [KIND]"""
import hashlib, json, os, random, shutil, signal, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from welllog_ocr.run.checkpoint import checkpoints, load, state_digest
from welllog_ocr.config import TrainingConfig
from welllog_ocr.files import read_jsonl
from welllog_ocr.run.callbacks import Curves
from welllog_ocr.train import train

Curves.after_step = lambda *_: None # a picture takes a third of such a training; test_commands.py sees that a run has one

CLOCK = ('elapsed_s', 'samples_per_s')
ALL = ''.join(map(chr, range(32, 127)))

def tiny(folder, **changes):
    "Config of a training on drawn lines that takes a second"
    return TrainingConfig(**{**dict(model_name=str(folder/'model'), output_dir=str(folder/'runs'), experiment_name='x', extra_characters='°½¼¾⅛⅜⅝⅞⅓⅔', synth_lines=32, crop_share=.1, synth_eval_lines=3, language_texts=20, max_steps=16, preflight=False,
                                    per_device_train_batch_size=4, per_device_eval_batch_size=4, warmup_steps=2, learning_rate=1e-3, logging_steps=3, eval_steps=8, save_steps=2, bf16=False), **changes})

def make_model(folder):
    from welllog_ocr.models.ctc import HEADER_CHARACTERS, tiny_ctc
    tiny_ctc(HEADER_CHARACTERS).save_pretrained(folder/'model')

def adapted(folder, **changes):
    "The same for a vision-language model with LoRA; its moments are in 8 bits, those of the smaller tensors in 32"
    return tiny(folder, **{**dict(extra_characters='', language_weight=0., max_new_tokens=4, min_pixels=1024, max_pixels=16384, synth_lines=16, max_steps=8, eval_steps=4, r=64, lora_dropout=.1, optim='adamw_8bit', gradient_checkpointing=True), **changes})

def quantised(folder, **changes): return adapted(folder, load_in_4bit=True, bf16=True, **changes)

def make_vlm(folder):
    from welllog_ocr.models.vlm import tiny_chat
    tiny_chat(width=64, depth=1).save_pretrained(folder/'model')

KINDS = dict(ctc=(make_model, tiny), lora=(make_vlm, adapted), qlora=(make_vlm, quantised))

def events(run, what): return [e for e in read_jsonl(run/'events.jsonl') if e['event'] == what]

def outcome(run):
    "All that a run left, clocks aside: state, metrics, evaluations, models"
    root = run/'checkpoints'
    files = [p for d in ('best', 'final', 'eval') for p in sorted((run/d).rglob('*')) if p.is_file() and p.name != 'README.md'] # a card tells of name and time
    return dict(state=state_digest(load(root/f'step-{max(checkpoints(root)):08}')), kept=sorted(checkpoints(root)),
                metrics=[{k: v for k, v in r.items() if k not in CLOCK} for r in read_jsonl(run/'metrics.jsonl')],
                files={str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})

def in_child(work, kill_after=None):
    "Exit status of `work` in a process of its own, which is killed after some seconds"
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1), os.dup2(null, 2)
            work()
            os._exit(0)
        except BaseException as e:
            os._exit(getattr(e, 'exit_code', 99))
    done, end = 0, time.monotonic() + (kill_after or 0)
    while kill_after is not None and not done and time.monotonic() < end:
        time.sleep(.002)
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        if kill_after is not None: os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

def kill(n:int, kind:str='ctc', seed:int=0)->dict:
    "Kill trainings at random times and start them again until they are done, `n` kills in all; compare with one that was left alone"
    folder, rng = Path(tempfile.mkdtemp(prefix='kills-')), random.Random(seed)
    make, tiny = KINDS[kind]
    in_child(lambda: make(folder))
    start = time.monotonic()
    assert in_child(lambda: train(tiny(folder, experiment_name='alone'))) == 0
    whole = time.monotonic() - start
    in_child(lambda: (folder/'want.json').write_text(json.dumps(outcome(folder/'runs'/'alone'))))
    want, kills, runs, equal = json.loads((folder/'want.json').read_text()), 0, 0, 0
    while kills < n:
        runs += 1
        for k in range(60):
            start = time.monotonic()
            status = in_child(lambda: train(tiny(folder)), None if k == 59 or kills >= n else rng.uniform(.05, whole))
            if status == 0:
                if k == 0: whole = min(whole, time.monotonic() - start) # the machine may have been busy when it was measured
                break
            assert status == -signal.SIGKILL, f'exit status {status} after {kills} kills'
            kills += 1
        in_child(lambda: (folder/'got.json').write_text(json.dumps(outcome(folder/'runs'/'x'))))
        got = json.loads((folder/'got.json').read_text())
        got['kept'] = want['kept'] = None # which ones are kept is for the rules of retention; a kill may leave one more
        equal += got == want
        left = [p.name for p in (folder/'runs'/'x'/'checkpoints').iterdir() if p.name.startswith('.')]
        assert not left, left
        shutil.rmtree(folder/'runs'/'x')
    shutil.rmtree(folder)
    return dict(kills=kills, runs=runs, bit_equal=equal)

def import_ahead(kind='ctc'):
    "What a training imports late, so that each child has it from the start"
    import datasets, matplotlib.backends.backend_agg, matplotlib.figure
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForTextRecognition, PPOCRV6SmallRecForTextRecognition, PPOCRV6SmallRecImageProcessor
    from welllog_ocr.models.ctc import CTCRecogniser
    if kind != 'ctc':
        import bitsandbytes, peft
        from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
        from welllog_ocr.models.vlm import ChatRecogniser

if __name__ == '__main__':
    torch.set_num_threads(1)
    import_ahead(*sys.argv[2:])
    print(json.dumps(kill(int(sys.argv[1]), *sys.argv[2:])))
