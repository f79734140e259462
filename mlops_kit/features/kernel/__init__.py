"""The one kernel that computes windows, over sorted history and over the state of a key.

It has no floating point: values are 64-bit words, sums are exact integers, and a result is rounded once. That is
why the order of events, the size of batches and the way that a window is cut into tiles cannot be seen in it.
"""
