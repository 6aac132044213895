"""The words everything else is said in: sign cases, quantities, errors, file names. Imports no torch."""
