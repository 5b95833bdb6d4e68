-- Blood counts per nanolitre, as the PhysioNet challenge of 2012 writes them: 10*9/L. What a site said itself stands.
insert into ehrdb.unit_synonym (unit, ucum) values ('cells/nl', '/nL'), ('cells/ul', '/uL') on conflict (unit) do nothing;
