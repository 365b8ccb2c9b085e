"""Where the records of an agency come from (connectors) and where received ones go (receivers).

`interface` is what a plug-in is written against; `registry` finds it by its name.
"""
