"""Reports: result tables, verdict files, plots and the HTML report of a run."""
