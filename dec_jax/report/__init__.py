"""The report of a run: clusters.csv, one row a cluster, and report.html, one file.

Both are written from the folder of a run and its data set alone.
"""
