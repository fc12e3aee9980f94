"""Full-size models with random weights on a graphics card: speed, peak memory, and the estimate beside it. Nothing is downloaded:

    python bench/gpu.py                      # the experiments of configs/experiments
    python bench/gpu.py --ledger runs        # and write the peaks into runs/memory.jsonl, which corrects later estimates
    python bench/gpu.py --device cpu FOLDER  # a small saved model on the processor, to try this script

Without a card it prints the estimates alone.
"""
import argparse, gc, os, sys, time
from pathlib import Path

os.environ['HF_HUB_OFFLINE'] = '1'
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch
from torch import nn

from welllog_ocr.config import load_config
from welllog_ocr.core import WelllogError
from welllog_ocr.models.lora import bitsandbytes, inside
from welllog_ocr.models.core import FAMILIES, autocast, to_device
from welllog_ocr.run.memory import CARD, build_recogniser, estimate, largest_batch, longest_sample, parts_of, record_peak, verdict_of
from welllog_ocr.run.step import EMA, _optimizer

ROOT = Path(__file__).resolve().parents[1]
NAMES = ('qwen3_qlora_r16', 'qwen3_qlora_r32', 'paddleocr_vl', 'trocr_small')

def pack(model:nn.Module, keep):
    "Put linear layers into 4 bits for real"
    bnb = bitsandbytes()
    for name, m in list(model.named_modules()):
        for k, old in list(m.named_children()):
            if type(old) is not nn.Linear or inside(f'{name}.{k}'.lstrip('.'), keep): continue
            new = bnb.nn.Linear4bit(old.in_features, old.out_features, old.bias is not None, compute_dtype=torch.bfloat16, quant_type='nf4', device='meta')
            new.weight, new.bias = bnb.nn.Params4bit(old.weight.data.cpu(), requires_grad=False, quant_type='nf4'), old.bias
            setattr(m, k, new.to(old.weight.device))
    model.is_loaded_in_4bit = True

def recogniser(cfg, device):
    "The model of a config with random weights"
    import transformers
    config, processor, dtype = parts_of(cfg.model_name)
    whole = FAMILIES[config.model_type][0] == 'seq2seq'
    make = transformers.VisionEncoderDecoderModel._from_config if whole else transformers.AutoModelForImageTextToText.from_config
    with torch.device(device): model = make(config, dtype=torch.float32 if whole else torch.bfloat16 if cfg.load_in_4bit else dtype)
    return build_recogniser(cfg, model, processor, pack).to(device)

def trained(rec, cfg, device, steps:int)->tuple[float, float, int, int]: # Seconds a step, peak in bytes, samples, tokens and patches of each
    sample = longest_sample(cfg, rec)
    n, more = largest_batch(cfg, rec.cost(sample))
    batch, adam, ema = to_device(rec.collate([sample]*n), device), _optimizer(cfg, rec), EMA(rec, cfg.ema_decay)
    rec.train()
    for i in range(steps + 1):
        if i == 1:
            if device.type == 'cuda': torch.cuda.synchronize()
            start = time.perf_counter()
        for _ in range(1 + more):
            with autocast(device, cfg.bf16): sums, _ = rec.losses(batch)
            sums.sum().backward()
        torch.nn.utils.clip_grad_norm_(list(rec.trainable().values()), 1.)
        adam.step(), adam.zero_grad(), ema.update()
    if device.type == 'cuda': torch.cuda.synchronize()
    return (time.perf_counter() - start)/steps/(1 + more), float(torch.cuda.max_memory_allocated()) if device.type == 'cuda' else 0., n, rec.cost(sample)

def row(cfg, name:str, device, args)->str:
    m = estimate(cfg, device.type == 'cuda' or not args.models)
    guess = f'| {name} | {sum(m.weights.values())/1e9:.2f} GB | {m.training/1e9:.2f} GB | {m.total/1e9:.2f} GB, {verdict_of(m, CARD)} |'
    if device.type != 'cuda' and not args.models: return guess
    gc.collect()
    if device.type == 'cuda': torch.cuda.empty_cache(), torch.cuda.reset_peak_memory_stats()
    try: seconds, peak, n, cost = trained(recogniser(cfg, device), cfg, device, args.steps)
    except torch.OutOfMemoryError: return f'{guess} out of memory | | |'
    if args.ledger and peak: record_peak(cfg.replace(output_dir=args.ledger), m, torch.cuda.get_device_name(), peak)
    return f'{guess} {f"{peak/1e9:.2f} GB" if peak else "unknown"} | {f"{m.training/peak:.3f}" if peak else ""} | {n} x {cost} in {seconds:.2f} s: {n*cost/seconds:,.0f} a second |'

def main(args):
    device = torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    base = load_config(ROOT/'configs'/'experiments'/'qwen3_qlora_r16.py').replace(max_pixels=128*128, min_pixels=64*64, max_seq_length=512, per_device_eval_batch_size=2)
    runs = {Path(p).name: base.replace(model_name=p) for p in args.models} or {n: load_config(ROOT/'configs'/'experiments'/f'{n}.py') for n in NAMES}
    measured = device.type == 'cuda' or args.models
    if measured: print(f'on {torch.cuda.get_device_name() if device.type == "cuda" else "the processor"}, torch {torch.__version__}\n')
    else: print('There is no graphics card here, so nothing is measured; these are the estimates for a card of 24 GB.\n')
    print('| training | weights | estimate of a step | of all |' + (' peak of a step | estimate/peak | speed, tokens and patches |\n|' if measured else '\n|') + ' --- |'*(7 if measured else 4))
    for name, cfg in runs.items():
        try: print(row(cfg, name, device, args), flush=True)
        except WelllogError as e: print(f'| {name} | {e} |' + ' |'*(5 if measured else 2), flush=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description='Full-size models with random weights on a graphics card: speed, peak memory, and the estimate.')
    p.add_argument('models', nargs='*', help='folders of saved models, instead of the experiments')
    p.add_argument('--device', help='cuda or cpu [cuda where there is one]')
    p.add_argument('--steps', type=int, default=5, help='steps that are timed [5]')
    p.add_argument('--ledger', help='output_dir whose memory.jsonl gets the peaks')
    main(p.parse_args())
