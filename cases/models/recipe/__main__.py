"""`python -m recipe`: train the embedded model, evaluate it, write its card, draw its cases."""

import argparse
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
EMBEDDED = MODELS / "embedded"


def main() -> None:
    """Read the command line and run one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m recipe", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train from a seed (about ten minutes)")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--steps", type=int, default=None)
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--out", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    # Imported late, so that --help needs no torch.
    if arguments.command == "train":
        import torch

        from recipe.train import STEPS, train

        torch.set_num_threads(arguments.threads)
        train(arguments.out, seed=arguments.seed, steps=arguments.steps or STEPS)


if __name__ == "__main__":
    main()
