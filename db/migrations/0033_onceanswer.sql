-- +goose Up

-- Answers that are kept for repeated requests are sealed, as some show a secret.
-- Those from before are forgotten: a repetition is shown the thing as it is.
update request_once set status = 0, content_type = '', body = null where body is not null;

-- +goose Down
update request_once set status = 0, content_type = '', body = null where body is not null;
