-- +goose Up

-- How often the server itself could not begin an eSIM's operation.
alter table esim_rollout_item add column troubles bigint not null default 0;

-- +goose Down
alter table esim_rollout_item drop column troubles;
