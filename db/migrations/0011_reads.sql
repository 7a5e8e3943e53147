-- +goose Up

-- Lists of a Fleet's Sims of one status.
create index sim_fleet_status on sim (fleet_sid, status, created_at, sid) where fleet_sid is not null;

-- +goose Down
drop index sim_fleet_status;
