"""The gateway of an agency: a process beside its node through which the data itself travels.

    provider    permit on the ledger -> question of the requester -> connector -> records pipeline
                -> sealed payload in the outbox -> `share.delivered` on the ledger
    requester   `share.delivered` on the ledger -> payload fetched over mutual TLS, with resume
                -> opened, commitment and records checked -> receiver -> `share.received`, or
                `share.rejected` with status codes

It is a process of its own, so that reading and sealing never delay a vote, and so that keys which
open payloads are not where the network listens for votes. It follows its own node's stream of final
blocks. Every step of an exchange is durable before the next begins, and every step may be repeated:
after a crash at any point the exchange goes on from the last durable step, and each event reaches
the ledger once, since its signed bytes are durable before they are submitted.

| module      | what it holds                                                              |
|-------------|----------------------------------------------------------------------------|
| `config`    | settings of `gateway.toml`                                                 |
| `jobs`      | what the gateway knows of an exchange, and the table of its stages         |
| `store`     | the jobs on disk                                                           |
| `desk`      | drives jobs from stage to stage; retries, holds, wakes                     |
| `follow`    | what a final record means for a job                                        |
| `steps`     | what is done in each stage, by the provider and by the requester           |
| `chain`     | the own node's API: reading, following, submitting                         |
| `partners`  | other agencies' gateways: mutual TLS, fetching with resume                 |
| `serving`   | what other gateways may fetch here                                         |
| `metrics`   | figures for Prometheus                                                     |
| `agency`    | what the agency itself hands in: socket, drop folder, schedule             |
| `words`     | words of its faults                                                        |
| `work`      | child processes that run connectors, pipeline, sealing and receivers       |
"""
