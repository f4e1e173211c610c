"""Tests of qfbatch.checkpoint: real files, real kills."""
