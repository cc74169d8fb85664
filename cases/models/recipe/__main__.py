"""`python -m recipe`: train the embedded model, evaluate and convert it, write its card, cases and noise."""

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
    evaluating = commands.add_parser("evaluate", help="score a trained folder and write its metrics.json")
    evaluating.add_argument("folder", type=Path, nargs="?", default=EMBEDDED)
    evaluating.add_argument("--each", type=int, default=200, help="questions for each figure")
    card = commands.add_parser("card", help="write a folder's model card from its figures")
    card.add_argument("folder", type=Path, nargs="?", default=EMBEDDED)
    cases = commands.add_parser("cases", help="draw the committed suites' images and write their YAML")
    cases.add_argument("folder", type=Path, nargs="?", default=MODELS.parent)
    remote = commands.add_parser("remote", help="write the model again as a checkpoint with its own code")
    remote.add_argument("folder", type=Path, nargs="?", default=MODELS / "remote")
    floor = commands.add_parser(
        "floor", help="measure its noise on any CPU (about ten minutes), for snapshots/"
    )
    floor.add_argument("--author", required=True, help="who keeps it")
    arguments = parser.parse_args()
    # Imported late, so that --help and the drawing of cases need no torch.
    if arguments.command == "train":
        import torch

        from .train import STEPS, train

        torch.set_num_threads(arguments.threads)
        train(arguments.out, seed=arguments.seed, steps=arguments.steps or STEPS)
    elif arguments.command == "evaluate":
        from .evaluate import evaluate, write_metrics

        write_metrics(arguments.folder, evaluate(arguments.folder, each=arguments.each))
    elif arguments.command == "card":
        from .card import write_card

        write_card(arguments.folder)
    elif arguments.command == "remote":
        from .remote import write_remote

        write_remote(EMBEDDED, arguments.folder)
    elif arguments.command == "floor":
        from .floor import keep_floors

        root = MODELS.parent.parent
        print(*keep_floors(MODELS.parent, root / "snapshots", arguments.author), sep="\n")
    else:
        from .catalogue import SUITES
        from .suites import write_suites

        write_suites(arguments.folder, SUITES)


if __name__ == "__main__":
    main()
