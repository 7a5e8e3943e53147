-- +goose Up

-- What has a carrier is given another display name a page at a time.
drop index device_profile_carrier_key;
create index device_profile_carrier_key on device_profile (account_sid, carrier_key, created_at);
drop index activation_code_all;
create index activation_code_all on activation_code (account_sid, carrier_key, created_at);

-- +goose Down
drop index activation_code_all;
create index activation_code_all on activation_code (account_sid, carrier_key);
drop index device_profile_carrier_key;
create index device_profile_carrier_key on device_profile (account_sid, carrier_key);
