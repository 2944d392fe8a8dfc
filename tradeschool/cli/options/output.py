"""Options for what a command prints and serves."""

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
print_json_option = click.option(
    "--json", "--print-json", "as_json", is_flag=True, help="Print JSON on standard output."
)
"""Also with the name that freqtrade's users type."""
page_option = click.option(
    "--page/--no-page", default=True, show_default=True, help="Serve the monitoring page (serve.host, serve.port)."
)
