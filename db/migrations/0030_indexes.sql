-- +goose Up

-- What was asked of an eUICC, newest first; own questions are by far the most.
create index eim_task_asked on eim_task (eid, created_at, position) where not own;

-- Types of devices are counted in the index alone.
drop index device_type;
create index device_type on device (account_sid, type_folded, created_at, type);

-- A rollout counts each eSIM once, when it has ended, and finds those whose time
-- has come again without a look at all that wait.
alter table esim_rollout_item add column counted boolean not null default false;
update esim_rollout_item set counted = true where state in ('succeeded', 'failed');
update esim_rollout set
    succeeded = (select count(*) from esim_rollout_item i where i.rollout = esim_rollout.id and i.state = 'succeeded'),
    failed = (select count(*) from esim_rollout_item i where i.rollout = esim_rollout.id and i.state = 'failed');
create index esim_rollout_item_ended on esim_rollout_item (rollout) where not counted and state in ('succeeded', 'failed');
create index esim_rollout_item_due on esim_rollout_item (rollout, due) where state = 'waiting' and due > 0;

-- +goose Down
drop index esim_rollout_item_due;
drop index esim_rollout_item_ended;
alter table esim_rollout_item drop column counted;
drop index device_type;
create index device_type on device (account_sid, type_folded, created_at);
drop index eim_task_asked;
