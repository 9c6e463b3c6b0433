-- largest two v3 by id6
select count(*), sum(id6), sum(largest2_v3), sum(id6 * largest2_v3)
from (
    select id6, v3 as largest2_v3
    from (
        select id6, v3, row_number() over (partition by id6 order by v3 desc) as order_v3
        from g1
    ) as ordered
    where order_v3 <= 2
) as answer
