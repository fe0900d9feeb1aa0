"""The log on Kafka: the local file is this node's journal and its replica of all topics.

``docs/kafka.md`` explains it to operators, ADR 13 to developers.

::

    signal role, commands                 log role (the only process that speaks Kafka)
      facts, decisions on own streams ──► log.sqlite3 ──► shipper ──► Kafka
      decisions on shared streams ───► run/log.sock ─────► shipper ──► Kafka
      readers ◄── log.sqlite3 ◄── replica ◄── fold ◄── reader ◄────── Kafka

- :mod:`~pbx.eventlog.kafka.envelope`: the value of a Kafka record
- :mod:`~pbx.eventlog.kafka.fold`: which records count, with which versions (pure)
- :mod:`~pbx.eventlog.kafka.replica`: the tables beside ``events``; applying folded records
- :mod:`~pbx.eventlog.kafka.log`: the log as signal role, commands and projections see it
- :mod:`~pbx.eventlog.kafka.partition`: the replica partition by partition, equal on all nodes
- :mod:`~pbx.eventlog.kafka.wire`, ``client``: asking the log role for a decision
- :mod:`~pbx.eventlog.kafka.control`, ``reader``, ``session``, ``shipper``, ``service``: the role
- :mod:`~pbx.eventlog.kafka.topics`, ``connect``: topics and connections

Only the last two lines import kafka-python.
"""
