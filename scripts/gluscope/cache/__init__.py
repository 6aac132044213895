"""The residual cache: its writer, which runs beside a scan, and its reader, which pages use."""
