"""Each job joins the parts below into one run and returns a report."""
