"""How fast it is, next to the floor: what the same work costs without any of what Certwright does for it.

`python -m tests.bench` prints one table in Markdown, `python -m tests.bench issuance` a part of it, `--quick` a rough
one within seconds. Ours and the floor run in turn, in the same run, so that a noisy machine is noisy for both; what
counts are the ratios. Servers are processes of their own; the clients are this one. Linux only: it reads /proc.
"""
