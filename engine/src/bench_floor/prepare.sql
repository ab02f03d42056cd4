-- A run and its steps, with nothing but what a fence and a record need.
create schema if not exists longhaul_bench;

create table if not exists longhaul_bench.run (
    id    uuid    not null,
    fence bigint  not null default 1,
    seq   integer not null default 0,
    constraint run_pkey primary key (id)
) with (fillfactor = 80);

create table if not exists longhaul_bench.step (
    run_id   uuid        not null,
    seq      integer     not null,
    state    text        not null,
    result   json        not null,
    ended_at timestamptz not null,
    constraint step_pkey primary key (run_id, seq)
);
