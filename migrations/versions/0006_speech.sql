-- Speech: a question in words has to leave a transaction that is still open. Nothing but a sequence is seen by others at
-- once, and never rolled back: eight of them carry 64 bytes at a time, a ninth says whose turn it is. Nobody but the
-- owner and the worker may read them. Unlogged, as questions are: in no write-ahead log, and empty after a crash.
create unlogged sequence ehrdb.speech_turn minvalue 0 start 0;
create unlogged sequence ehrdb.speech_1 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_2 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_3 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_4 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_5 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_6 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_7 minvalue -9223372036854775808 start 0;
create unlogged sequence ehrdb.speech_8 minvalue -9223372036854775808 start 0;

-- Who speaks, and who listens: one at a time each.
insert into ehrdb.turn values ('speaker'), ('listener');
