-- +goose Up

-- Orders end when their time is over, not when somebody comes for them.
create index profile_expiry on profile (expires_at) where state = 'released' and expires_at > 0;

-- +goose Down
drop index profile_expiry;
