"""Where tasks run: in this process, or on dask's workers, in threads or processes here or on other machines.

Begin with ``executors.open_executor``; ``preloaded`` is what worker processes of this machine share. Neither
knows anything of scenes.
"""
