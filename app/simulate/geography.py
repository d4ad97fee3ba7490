"""Bình Dương, as a stage: real towns and wards, premises that exist nowhere.

Province and district numbers are the General Statistics Office's of 2021.
"""

from typing import Final

import msgspec

PROVINCE_CODE: Final = "74"


class District(msgspec.Struct, frozen=True):
    """A town with the wards that premises are spread over, and its middle (WGS 84 degrees)."""

    name: str
    code: str
    latitude: float
    longitude: float
    wards: tuple[str, ...]


DISTRICTS: Final = (
    District("Thủ Dầu Một", "718", 10.980, 106.651, ("Phú Cường", "Hiệp Thành", "Phú Lợi", "Chánh Nghĩa", "Định Hòa")),
    District("Dĩ An", "724", 10.907, 106.769, ("Dĩ An", "Đông Hòa", "Tân Đông Hiệp", "Bình An", "An Bình")),
    District("Thuận An", "725", 10.924, 106.699, ("Lái Thiêu", "An Phú", "Thuận Giao", "Bình Chuẩn", "An Thạnh")),
    District("Bến Cát", "721", 11.152, 106.589, ("Mỹ Phước", "Thới Hòa", "Chánh Phú Hòa", "Hòa Lợi")),
    District("Tân Uyên", "723", 11.062, 106.797, ("Uyên Hưng", "Khánh Bình", "Tân Phước Khánh", "Thái Hòa")),
)

INDUSTRIAL_PARKS: Final = ("Rừng Tràm", "Đồng Sen", "Suối Bạc", "Gò Mây", "Bãi Lau", "Đồi Thông")
COMPANIES: Final = (
    ("May", "Hoa Gạo"),
    ("Giày da", "Sông Chanh"),
    ("Gỗ", "Lim Xanh"),
    ("Điện tử", "Sao Khuê"),
    ("Bao bì", "Lá Sen"),
    ("Dệt", "Cánh Cò"),
    ("Cơ khí", "Núi Cậu"),
    ("Thực phẩm", "Đồng Lúa"),
    ("Nhựa", "Bình Minh Đỏ"),
    ("Gốm sứ", "Đất Nung"),
)
OFFICES: Final = ("Kế toán Tre Xanh", "Phần mềm Chim Sẻ", "Bảo hiểm Cây Đa", "Thiết kế Ngói Mới", "Vận tải Đò Ngang")
SCHOOLS: Final = ("Phượng Vĩ", "Hoa Mai", "Bằng Lăng", "Măng Non", "Trúc Xanh", "Cây Bàng")
SHOPS: Final = ("Tạp hóa Cô Ba", "Nhà thuốc An Tâm", "Siêu thị mini Giỏ Tre", "Tiệm vàng Kim Ngân", "Hớt tóc Anh Tư")
RESTAURANTS: Final = (
    "Phở Gà Nòi",
    "Cơm tấm Bụi",
    "Bún bò Cay",
    "Hủ tiếu Gõ",
    "Cà phê Võng",
    "Lẩu Mắm",
    "Bánh xèo Giòn",
)
PAGODAS: Final = ("Chùa Sen Trắng", "Nhà thờ Đá Xám", "Chùa Gió Ngàn", "Chùa Lá Bối Vàng")
MALL: Final = "Trung tâm thương mại Cánh Diều"
MALL_UNITS: Final = ("Rạp phim Ánh Trăng", "Nhà sách Trang Giấy", "Khu ẩm thực", "Siêu thị tầng trệt")
CHECKPOINTS: Final = ("cầu Rạch Sỏi", "ngã tư Cây Điệp", "quốc lộ 13", "phà Bến Nổi")
