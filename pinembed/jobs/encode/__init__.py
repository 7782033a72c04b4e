"""Floor 4: the encode job. Scan, plan, load, encode, write; each step has its module."""

from pinembed.jobs.encode.job import encode as encode
