"""Where tasks run: in this process, in threads, in worker processes of this machine, on a cluster of dask.

Begin with ``executors.open_executor``; ``workers`` makes processes. They know nothing of scenes.
"""
