"""Payloads sealed to one recipient for one exchange. No input, no output.

format      the format, its header, and what a payload is sealed for
keys        pairs of encryption keys
commitment  what the ledger says of the content without revealing it
sealer      plaintext in, sealed chunks out
opener      sealed bytes in, authenticated chunks out; resumes
pieces      bytes in, in one size, and out in another
errors      the one refusal, with its code
words       every code in zh and en, with what to do
"""
