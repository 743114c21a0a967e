#!/usr/bin/env python3
"""One measurement of diffusers, transformers and peft at a model's true size, in a process of its own.

The Python side of bench/full_size.py, which says what each kind is. Prints one line of JSON; the service's side is
bench/full_size.cc.

Two kinds measure nothing: `flops` counts a step's operations on the meta device, `inputs` writes the file that
cold-transformer reads.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import processor  # noqa: E402

processor.restrict(os.environ.get("FLOWAWR_CPU"))

import torch  # noqa: E402

STEPS_OF_A_SAMPLE = 28  # the first of them is measured
TARGETS = ["attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj",
           "attn.add_v_proj", "attn.to_add_out"]
PROMPT = "a red fox asleep on a pile of books"
result = {}


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def finish(options):
    """Waits for what the device was told to do."""
    if options.device != "cpu":
        torch.accelerator.synchronize(torch.device(options.device))


def measure(options, warm_up, step):
    """Runs `step` again and again for about --seconds, at least once. `warm_up` is a smaller step of the same kind."""
    if not options.compile:
        warm_up()
    if options.compile or options.device != "cpu":
        step()  # compilers compile for these sizes, a device's libraries choose kernels by them
    finish(options)
    wall, cpu = [], []
    while not wall or sum(wall) + wall[-1] <= options.seconds:
        cpu_before, start = processor_seconds(), time.perf_counter()
        step()
        finish(options)
        wall.append(time.perf_counter() - start)
        cpu.append(processor_seconds() - cpu_before)
    result.update(wall=wall, cpu=cpu)


def load_transformer(options):
    from diffusers import SD3Transformer2DModel
    if options.kind == "flops":
        with torch.device("meta"):
            config = SD3Transformer2DModel.load_config(f"{options.model}/transformer")
            return SD3Transformer2DModel.from_config(config).to(options.dtype).requires_grad_(False)
    return SD3Transformer2DModel.from_pretrained(
        f"{options.model}/transformer", torch_dtype=options.dtype).requires_grad_(False).to(options.device)


def inputs_of(model, options, batch, side, is_group):
    """Of `batch` rows; one prompt and one sigma for all if `is_group`."""
    config, device, dtype = model.config, model.device, options.dtype
    rows = 1 if is_group else batch
    sigma = torch.full((1,), 0.7, device=device) if is_group else torch.linspace(0.9, 0.3, rows, device=device)
    return dict(
        hidden_states=torch.randn(batch, config.in_channels, side, side, device=device).to(dtype),
        timestep=1000 * sigma.expand(batch),
        encoder_hidden_states=torch.randn(rows, options.text_tokens, config.joint_attention_dim, device=device)
        .to(dtype).expand(batch, -1, -1),
        pooled_projections=torch.randn(rows, config.pooled_projection_dim, device=device).to(dtype).expand(batch, -1))


def forward_steps(options, is_group):
    model = load_transformer(options)
    forward = torch.compile(model, dynamic=False) if options.compile else model

    def step(batch, side):
        inputs = inputs_of(model, options, batch, side, is_group)

        @torch.no_grad()
        def run():
            forward(**inputs, return_dict=False)

        return run

    return step


def training_steps(options):
    """Forward, FlowAWR's loss with v_old = v_theta, backward. The adapter is f32 beside a base in --dtype."""
    from peft import LoraConfig
    model = load_transformer(options)
    model.add_adapter(LoraConfig(r=options.rank, lora_alpha=2 * options.rank, init_lora_weights=False,
                                 target_modules=TARGETS))
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    if options.checkpoint:
        model.enable_gradient_checkpointing()
    model.train()

    def velocity(inputs):
        with contextlib.ExitStack() as stack:
            if options.autocast:
                stack.enter_context(torch.autocast(torch.device(options.device).type, options.dtype))
            return model(**inputs, return_dict=False)[0].float()

    def step(batch, side):
        def run():
            inputs = inputs_of(model, options, batch, side, is_group=False)
            sigma = inputs["timestep"].view(-1, 1, 1, 1) / 1000
            energy = torch.linspace(-1, 1, batch, device=sigma.device).view(-1, 1, 1, 1)
            noise = inputs["hidden_states"].float()
            x0 = torch.randn_like(noise)
            x = (1 - sigma) * x0 + sigma * noise
            inputs["hidden_states"] = x.to(options.dtype)
            if options.reference:
                model.disable_adapters()
                with torch.no_grad():
                    v_ref = velocity(inputs)
                model.enable_adapters()
            v = velocity(inputs)
            with torch.no_grad():
                x0_old = x - sigma * v
                target = x0_old + energy * (x0 - x0_old)
            x0_theta = x - sigma * v
            scale = (x0_theta - x0).detach().abs().mean((1, 2, 3)).clamp(min=1e-5)
            loss = ((x0_theta - target).square().mean((1, 2, 3)) / scale).sum()
            if options.reference:
                loss = loss + 1e-4 * (v - v_ref).square().mean((1, 2, 3)).sum()
            loss.backward()
            for parameter in parameters:
                parameter.grad = None

        return run

    return step


def vae_steps(options):
    from diffusers import AutoencoderKL
    vae = AutoencoderKL.from_pretrained(f"{options.model}/vae", torch_dtype=options.dtype).to(options.device)
    if options.channels_last:
        vae = vae.to(memory_format=torch.channels_last)

    def step(batch, side):
        latents = torch.randn(batch, vae.config.latent_channels, side, side).to(options.device, options.dtype)

        @torch.no_grad()
        def run():
            z = latents / vae.config.scaling_factor + vae.config.shift_factor
            (vae.decode(z, return_dict=False)[0].float() / 2 + 0.5).clamp(0, 1)

        return run

    return step


def encoder_steps(options):
    import transformers
    is_t5 = options.encoder == "text_encoder_3"
    kind = transformers.T5EncoderModel if is_t5 else transformers.CLIPTextModelWithProjection
    model = kind.from_pretrained(f"{options.model}/{options.encoder}", dtype=options.dtype).to(options.device)

    def step(batch, _):
        ids = torch.randint(1, model.config.vocab_size, (batch, 128 if is_t5 else 77)).to(options.device)

        @torch.no_grad()
        def run():
            model(ids, output_hidden_states=not is_t5)

        return run

    return step


def first_step(options, transformer, scheduler, prompt_embeds, pooled):
    print("ready", flush=True)
    scheduler.set_timesteps(STEPS_OF_A_SAMPLE, device=options.device)
    latents = torch.randn(1, transformer.config.in_channels, options.side, options.side).to(options.device)
    t = scheduler.timesteps[0]
    velocity = transformer(hidden_states=latents.to(options.dtype), timestep=t.expand(1), pooled_projections=pooled,
                           encoder_hidden_states=prompt_embeds, return_dict=False)[0]
    scheduler.step(velocity, t, latents, return_dict=False)
    finish(options)


@torch.no_grad()
def cold_transformer(options):
    from diffusers import FlowMatchEulerDiscreteScheduler
    from safetensors.torch import load_file
    inputs = {name: tensor.to(options.device) for name, tensor in load_file(options.inputs).items()}
    transformer = load_transformer(options)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(f"{options.model}/scheduler")
    first_step(options, transformer, scheduler, inputs["prompt_embeds"], inputs["pooled"])


@torch.no_grad()
def cold_pipeline(options):
    from diffusers import StableDiffusion3Pipeline
    pipeline = StableDiffusion3Pipeline.from_pretrained(options.model, torch_dtype=options.dtype).to(options.device)
    embeds, _, pooled, _ = pipeline.encode_prompt(PROMPT, PROMPT, PROMPT, do_classifier_free_guidance=False,
                                                  max_sequence_length=128)
    first_step(options, pipeline.transformer, pipeline.scheduler, embeds, pooled)


@torch.no_grad()
def products(options):
    best = 0.0
    sizes = [(1024, 1536, 1536), (1024, 1536, 6144), (4096, 1536, 4608), (4096, 6144, 1536), (2048, 2048, 2048)]
    if options.large:
        sizes = [(8192, 8192, 8192), (29496, 1536, 6144), (29496, 6144, 1536)]
    for rows, inner, out in sizes:
        x, weight, bias = (torch.randn(*shape, device=options.device).to(options.dtype)
                           for shape in ((rows, inner), (out, inner), (out,)))
        torch.nn.functional.linear(x, weight, bias)
        finish(options)
        start = time.perf_counter()
        while time.perf_counter() - start < options.seconds / len(sizes):
            before = time.perf_counter()
            torch.nn.functional.linear(x, weight, bias)
            finish(options)
            best = max(best, 2 * rows * inner * out / (time.perf_counter() - before))
    result["flops_per_second"] = best


def count(options):
    """Multiplications and additions of matrix products, attention and convolutions in one step of --counted."""
    from torch.utils.flop_counter import FlopCounterMode
    options.checkpoint = options.autocast = False
    if options.counted == "vae":
        from diffusers import AutoencoderKL
        with torch.device("meta"):
            vae = AutoencoderKL.from_config(AutoencoderKL.load_config(f"{options.model}/vae"))
        latents = torch.randn(options.batch, vae.config.latent_channels, options.side, options.side, device="meta")
        run = torch.no_grad()(lambda: vae.decode(latents))
    elif options.counted == "encoder":
        import transformers
        config = transformers.AutoConfig.from_pretrained(f"{options.model}/{options.encoder}")
        is_t5 = options.encoder == "text_encoder_3"
        with torch.device("meta"):
            model = (transformers.T5EncoderModel if is_t5 else transformers.CLIPTextModelWithProjection)(config)
        model.set_attn_implementation("eager")  # the counter sees into it
        ids = torch.zeros(options.batch, 128 if is_t5 else 77, dtype=torch.long, device="meta")
        run = torch.no_grad()(lambda: model(ids))
    else:
        options.kind = "flops"
        run = STEPS[options.counted](options)(options.batch, options.side)
    with FlopCounterMode(display=False) as counter:
        run()
    result["flops"] = counter.get_total_flops()


def write_inputs(options):
    from safetensors.torch import save_file
    config = json.load(open(f"{options.model}/transformer/config.json"))
    torch.manual_seed(1)
    save_file({"prompt_embeds": torch.randn(1, options.text_tokens, config["joint_attention_dim"]).to(options.dtype),
               "pooled": torch.randn(1, config["pooled_projection_dim"]).to(options.dtype)}, options.inputs)


STEPS = {"forward": lambda o: forward_steps(o, False), "sample": lambda o: forward_steps(o, True),
         "train": training_steps, "vae": vae_steps, "encoder": encoder_steps}
OTHERS = {"products": products, "cold-transformer": cold_transformer, "cold-pipeline": cold_pipeline, "flops": count,
          "inputs": write_inputs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*STEPS, *OTHERS])
    parser.add_argument("--counted", help="the kind that `flops` counts")
    parser.add_argument("--model")
    parser.add_argument("--inputs")
    parser.add_argument("--encoder", default="text_encoder")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--checkpoint", action="store_true")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--compile", action="store_true", help="forward and sample: by torch.compile")
    parser.add_argument("--large", action="store_true", help="products: of sizes that fill a GPU")
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--autocast", action="store_true", help="train under autocast to --dtype")
    parser.add_argument("--channels-last", action="store_true", help="the autoencoder's memory format")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--text-tokens", type=int, default=205)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    options.dtype = torch.float32 if options.float32 else torch.bfloat16
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.kind in STEPS:
        step = STEPS[options.kind](options)
        measure(options, step(1, 8 if options.kind == "vae" else 16), step(options.batch, options.side))
    else:
        OTHERS[options.kind](options)
    result["peak_memory"] = peak_memory()
    if options.device != "cpu":
        result["peak_device_memory"] = torch.cuda.max_memory_allocated(options.device)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
