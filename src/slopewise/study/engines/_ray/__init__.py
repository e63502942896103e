"""Trials as tasks of a Ray cluster.

    driver                                   node of a worker
    ------                                   ----------------
    _engine   options, capacity
    _cluster  connection to the cluster
    _session  places and follows trials ---> _work      makes the attempt
    _nodes    room, choice of a node
    _mailbox  live reports    <------------- _work      sends them
    _faults   meaning of an error of Ray
    _end      gives trials up -------------> _end       kills processes

A trial's live reports come by the mailbox, and once more, all of them, with the result of its task. So the mailbox may
lose reports without any harm but a late display.
"""

from slopewise.study.engines._ray._engine import RayEngine as RayEngine
