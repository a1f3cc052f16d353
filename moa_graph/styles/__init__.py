"""Style sheets of the page, the reports and the drawings."""
