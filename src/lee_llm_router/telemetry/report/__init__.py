"""The report: one HTML page that shows traced calls in a browser, as a file or live on this machine."""
