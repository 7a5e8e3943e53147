-- +goose Up

-- Texts that people or networks have written, folded for conditions and orders.
-- The engines fold what is there already by their own rules, which may be those of
-- ASCII alone; the next change of a record writes it right.
alter table device add column network_folded text not null default '';
alter table device add column network2_folded text not null default '';
update device set network_folded = lower(network), network2_folded = lower(network2);

alter table device_profile add column code_folded text not null default '';
alter table device_profile add column name_folded text not null default '';
update device_profile set code_folded = lower(code_carrier), name_folded = lower(name);

-- +goose Down
alter table device_profile drop column name_folded;
alter table device_profile drop column code_folded;
alter table device drop column network2_folded;
alter table device drop column network_folded;
