-- big inner on int
select
    count(*), sum(id1), sum(id2), sum(id3), max(id4), max(id5), max(id6),
    sum(big_id1), sum(big_id2), max(big_id4), max(big_id5), max(big_id6), sum(v1), sum(v2)
from (
    select
        x.*, big.id1 as big_id1, big.id2 as big_id2, big.id4 as big_id4, big.id5 as big_id5, big.id6 as big_id6, v2
    from x
    inner join big on x.id3 = big.id3
) as answer
