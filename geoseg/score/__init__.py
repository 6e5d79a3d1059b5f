"""A map against labels: counts that add up, measures of counts, intervals, a report. No file, no tensor."""
