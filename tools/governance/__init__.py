"""What people see and sign when members vote: differences in words, files, drafts, applications."""
