"""What FlowState costs and carries, measured on a throw-away stack: `make bench`, or one alone with
`python -m benchmarks.<name>`. Figures go to results/, what they mean to docs/capacity.md.

They are measurements, not tests: nothing fails because something was slow. What is compared is
measured in one run, in turns, and medians are told with their spread. Linux only (/proc).
"""
