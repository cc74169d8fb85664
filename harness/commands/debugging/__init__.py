"""The subcommands that find where and since when two engines differ; each module as in `harness.commands`."""
