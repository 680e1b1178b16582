"""`vae encode` and `vae export`, and the options of the verbs that open a trained model."""

from argparse import Namespace
from pathlib import Path

import vae_simpsons
from vae_simpsons.cli.parsing import Parser, Verb, add_option
from vae_simpsons.errors import renamed
from vae_simpsons.paths import for_shell
from vae_simpsons.progress import progress_bar


def add_checkpoint(parser: Parser) -> None:
    parser.add_argument(
        "--ckpt",
        required=True,
        metavar="PATH",
        help="last.ckpt or best.ckpt of a run, an export, or the name of a shipped model, say toons",
    )


def add_cache_dir(parser: Parser) -> None:
    meaning = "folder for packed images (default: the run's)"
    parser.add_argument("--data.cache_dir", dest="cache_dir", metavar="PATH", help=meaning)


def add_device(parser: Parser) -> None:
    devices = ("auto", "cpu", "cuda", "mps")
    add_option(parser, "--device", "auto", "{auto,cpu,cuda,mps}", "", choices=devices)


def add_model(parser: Parser) -> None:
    """Adds --ckpt, --data.cache_dir and --device."""
    add_checkpoint(parser)
    add_cache_dir(parser)
    add_device(parser)


def load_model(options: Namespace) -> "vae_simpsons.VAE":
    """Returns the model in the file that --ckpt names, on the --device."""
    with renamed(path="--ckpt", device="--device"):
        return vae_simpsons.VAE.load(options.ckpt, options.device)


def add_encode_options(parser: Parser) -> None:
    parser.add_argument("path", nargs="?", metavar="PATH", help="folder, zip or tar of images (default: the run's)")
    contents = "new or empty folder for mu.npy, log_var.npy and images.csv, which names the image of each row"
    add_option(parser, "--out", "latents", "PATH", contents)
    add_model(parser)


def run_encode(options: Namespace) -> None:
    """Writes mu, log_var and a table of the images, prepared as in training."""
    from vae_simpsons.files import output_folder

    folder, model = Path(options.out), load_model(options)
    with output_folder("--out", folder) as temporary:
        files, index = model.encode_folder(temporary, options.path, options.cache_dir, progress_bar)
    if left_out := index.left_out():
        print(left_out)
    print(f"{len(index.paths):,} images in {folder}: {', '.join(file.name for file in files)}")


def add_export_options(parser: Parser) -> None:
    add_checkpoint(parser)
    parser.add_argument("--out", required=True, metavar="PATH", help="new or empty folder")
    parser.add_argument("--half", action="store_true", help="weights in 16 bits: half the size")
    onnx = "ONNX files too, of 32 bits, compared with torch: for programs without it"
    parser.add_argument("--onnx", action="store_true", help=onnx)
    parser.set_defaults(device="cpu")


def run_export(options: Namespace) -> None:
    """Writes the weights and settings without what only training needs, and what other programs need."""
    from vae_simpsons.files import format_bytes, output_folder

    folder, model = Path(options.out), load_model(options)
    with output_folder("--out", folder) as temporary, renamed(onnx="--onnx"):
        files = model.export(temporary, folder.name, options.half, options.onnx)
        sizes = [f"{file.name} ({format_bytes(file.stat().st_size)})" for file in files]
    print(f"the model after epoch {model.epochs} in {folder}: {', '.join(sizes)}")
    if options.onnx:
        print("the ONNX files compute what torch does, in batches of 1, 2 and 7")
    print(f"next: vae sample --ckpt {for_shell(folder)} -n 64")


ENCODE = Verb("encode a folder of images to arrays of mu and log_var", add_encode_options, run_encode)
EXPORT = Verb("write a trained model to share: weights and settings alone", add_export_options, run_export)
