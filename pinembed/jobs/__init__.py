"""Each job joins the parts below into one run and returns a report.

The fields of its settings say what it can be asked for; `progress` is told each step, and `stop` is asked between two.
"""
