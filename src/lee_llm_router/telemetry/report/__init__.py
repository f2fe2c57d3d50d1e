"""The report: one page of HTML that shows traced calls in a browser, as a file or live on this machine."""
