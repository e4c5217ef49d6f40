"""Tables, plots and tests of significance."""
