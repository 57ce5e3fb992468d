"""The report of a run: one self-contained page, and its numbers as JSON."""

from vqvae2.report.data import Completions, ReportData
from vqvae2.report.from_run import write_run_report
from vqvae2.report.page import render_page, write_report

__all__ = ["Completions", "ReportData", "render_page", "write_report", "write_run_report"]
