-- medium inner on factor
select
    count(*), sum(id1), sum(id2), sum(id3), max(id4), max(id5), max(id6),
    count(medium_id1), sum(medium_id1), max(medium_id4), sum(medium_id2), sum(v1), sum(v2)
from (
    select x.*, medium.id1 as medium_id1, medium.id4 as medium_id4, medium.id2 as medium_id2, v2
    from x
    inner join medium on x.id5 = medium.id5
) as answer
