"""What is done in each stage, on the provider's side and on the requester's.

A step takes a job and gives the change of it that is to become durable. It may be repeated: after a
crash it runs again from the start, and what it leaves behind is the same.
"""
