"""Images to table rows: plan, pipeline, run log."""
