"""`tradeschool completion`: print the script that lets a shell complete commands, options and values."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "tradeschool"
VARIABLE = "_TRADESCHOOL_COMPLETE"
"""Environment variable by which the script asks the program for completions; click derives it from the program name."""
SHELLS = ("bash", "zsh", "fish")
INSTALL = {
    "bash": "echo 'eval \"$(tradeschool completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(tradeschool completion zsh)\"' >> ~/.zshrc",
    "fish": "tradeschool completion fish > ~/.config/fish/completions/tradeschool.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    Runs, levels, pairs, timeframes, strategies and stored datasets are completed besides commands and options.

    \b
    To install it:
      echo 'eval "$(tradeschool completion bash)"' >> ~/.bashrc
      echo 'eval "$(tradeschool completion zsh)"' >> ~/.zshrc
      tradeschool completion fish > ~/.config/fish/completions/tradeschool.fish
    """
    script = get_completion_class(shell)
    assert script is not None, "click knows all SHELLS"
    # The script's text alone: click's `source` would start bash to check its version.
    chosen = script(ctx.find_root().command, {}, PROGRAM, VARIABLE)
    click.echo(chosen.source_template % chosen.source_vars())
    click.echo(f"to install it: {INSTALL[shell]}", err=True)
