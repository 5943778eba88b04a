"""Our times beside those of the least that one could do, measured in the same run.

::

    python -m benchmarks                    # everything, as one Markdown table, in some minutes
    python -m benchmarks --only small       # one group of rows; --help names them
    python -m benchmarks --smoke            # tiny sizes: only sees that all of it works

How to read the table:

- *ours* is for one experiment or one iteration, as the unit says, and the median of some rounds. It
  is all that a user waits for: `run()` with ids, configs and seeds, and `results.df`. Workers are
  started before.
- *floor* is the same work done without the library, by the code in brackets, which is in the module
  `floors`. It takes turns with ours, round by round, so that both meet the same noise. A row of its
  own for each floor.
- *ratio* is ours over floor. It says more than the times when machines differ. A floor that does
  next to nothing gives a large one; there the target is a time.
- *target* bounds ours if it has a unit, else the ratio; or it says how much more than the floor
  ours may be. *met* is empty where there is no target.
- *growth* is how many times longer the most experiments take than the number before, here and in a
  plain loop.
- *fingerprint*: what stands for a function or an array in keys. Code that was seen before is known
  by its code object; *never seen* is a function that was written just now. 2 ms a MB are 500 MB/s.
  The floor digests the code, the defaults and the one global that it is told of, or the bytes of
  the array.
- *graph*: from a research to its Dask graph, of functions written in a notebook, for two parameters
  and a shared root. *As it is sent* goes on to the bytes that a Client makes of the graph, and
  *sent* counts these bytes. The floor has a task for each config with a number for a name: no ids,
  no keys by content, no table.
- *load* and its branches are so much work as takes one core about so long; how much is found out
  once, so that ours and the floor do the same. The floor loads once and forks, so that its branches
  find the loaded in their memory and need no scheduler. More than one load in a run breaks the
  workload.
- *sweep*: folds, then principal components, then classifiers, with one thread a process. Both
  ratios are to loops on one core that split and reduce no more often than ours.
- *kB beyond results* are no times, but the most memory that is held at any moment of a run, less
  that of its results (see the module `memory`). The floor is our own run over fewer experiments, or
  over a smaller domain.
- *into a folder* is `run(name)` alone, without the table, from the description to the tidied
  folder. The floor writes one Parquet file. *Left behind* are all files in the folder.
- *rows* are those of a folder that is opened anew each time, and become a table. The floor reads
  the same table from one Parquet file. *1 % of them* are the experiments with one value of a
  parameter, which are all over the folder; its first floor is our own time for all rows.
- *MB resident beyond the start* is what the process has more of at the peak of a run than before
  it, the median of three processes. In the end a run merges its files, and holds the bytes of one
  of up to 250,000 experiments then.
- *cluster*: a scheduler and two workers that are processes of Dask's command line, and a client of
  them. *In user code* is how long experiments had a worker by their own clock, and *s of two
  workers* is twice the time of the run. *MB resident* are as above for the client; the scheduler is
  to have no more at the end of a run than after a tenth.
- *CPU* is what a process has spent by the clock of the machine. A worker of many threads, whose
  experiments sleep, stands for many workers, as it asks as much of the client and of the scheduler;
  its own interpreter limits the time that goes by. The floor hands the same experiments to Dask,
  each as a task, and gathers what they return.

Each group of rows has an interpreter of its own. Other processes disturb the times, so the line
under the table has the load of the machine: trust a table that was made at less than its number of
cores, the benchmarks' own load included.

A workload that raises, or whose rows are not those of its floor, is named below the table, and the
exit status is 1. A missed target changes no exit status.
"""
